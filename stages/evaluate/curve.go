package evaluate

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/stages"
)

// CurveFile is a picture of how training went.
const CurveFile = "learning-curve.svg"

// historyFile is the table that the train stage writes beside the model.
const historyFile = "history.csv"

// curves is a table of numbers by epoch. A value that was not measured is NaN.
type curves struct {
	names  []string
	epochs [][]float64 // a row for each epoch, a value for each name
}

// writeCurve draws the history of the model's training. A model without one has no picture.
func writeCurve(ctx context.Context, t *stages.Task) error {
	text, err := t.Input(InputModel).ReadFile(ctx, historyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := parseHistory(text)
	if err != nil {
		return fmt.Errorf("%s: %w", historyFile, err)
	}
	return t.Out().PutBytes(ctx, CurveFile, c.draw())
}

func parseHistory(text []byte) (curves, error) {
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return curves{}, err
	}
	if len(rows) < 1 || len(rows[0]) < 2 {
		return curves{}, errors.New("want a header and columns")
	}
	c := curves{names: rows[0][1:]}
	for _, row := range rows[1:] {
		values := make([]float64, len(c.names))
		for i, field := range row[1:] {
			values[i] = math.NaN()
			if field == "" {
				continue
			}
			if values[i], err = strconv.ParseFloat(field, 64); err != nil {
				return curves{}, err
			}
		}
		c.epochs = append(c.epochs, values)
	}
	return c, nil
}

// The picture's measures, in pixels.
const (
	panelWidth, panelHeight = 420, 240
	marginLeft, marginTop   = 56, 34
	marginBottom, gap       = 40, 40
)

// draw makes an SVG with two panels, losses on the left and accuracies on the right. It is
// text alone, and the same bytes for the same numbers.
func (c curves) draw() []byte {
	var b bytes.Buffer
	width, height := 2*(marginLeft+panelWidth)+gap, marginTop+panelHeight+marginBottom
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height, width, height)
	fmt.Fprintf(&b, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height)
	c.panel(&b, marginLeft, "loss")
	c.panel(&b, 2*marginLeft+panelWidth+gap, "accuracy")
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// panel draws what is named so, of the training pictures and of the validation pictures.
func (c curves) panel(b *bytes.Buffer, left int, name string) {
	const low = 0.0
	high := c.highest(name)
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, marginTop-14, name)
	for i := range 5 {
		value := low + float64(float64(i)/4*(high-low))
		y := position(value, low, high, marginTop+panelHeight, marginTop)
		fmt.Fprintf(b, "<path d=\"M%d %sh%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%s\" text-anchor=\"end\">%.3g</text>\n", left, y, panelWidth, left-6, y, value)
	}
	last := max(len(c.epochs), 2)
	for _, epoch := range []int{1, (last + 1) / 2, last} {
		x := position(float64(epoch), 1, float64(last), left, left+panelWidth)
		fmt.Fprintf(b, "<text x=\"%s\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x, marginTop+panelHeight+18, epoch)
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epoch</text>\n", left+panelWidth/2, marginTop+panelHeight+34)
	for i, line := range []struct{ column, label, colour string }{{name, "training", "#1f77b4"}, {"val_" + name, "validation", "#d95f02"}} {
		points := c.points(line.column, left, low, high, last)
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(b, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", strings.Join(points, " "), line.colour)
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" fill=\"%s\" text-anchor=\"end\">%s</text>\n", left+panelWidth-90*i, marginTop-14, line.colour, line.label)
	}
}

func (c curves) points(column string, left int, low, high float64, last int) []string {
	var points []string
	for i, values := range c.epochs {
		for j, name := range c.names {
			if name == column && !math.IsNaN(values[j]) {
				points = append(points, position(float64(i+1), 1, float64(last), left, left+panelWidth)+","+
					position(values[j], low, high, marginTop+panelHeight, marginTop))
			}
		}
	}
	return points
}

// highest is where a panel ends: 1 for the accuracy, the largest value for the loss.
func (c curves) highest(name string) float64 {
	if name == "accuracy" {
		return 1
	}
	high := 0.0
	for _, values := range c.epochs {
		for j, column := range c.names {
			if (column == name || column == "val_"+name) && values[j] > high {
				high = values[j]
			}
		}
	}
	if high == 0 {
		return 1
	}
	return high
}

// position is where a value lies between two pixels, to a tenth of one.
func position(value, low, high float64, from, to int) string {
	at := float64(from) + float64((value-low)/(high-low)*float64(to-from))
	return strconv.FormatFloat(at, 'f', 1, 64)
}
