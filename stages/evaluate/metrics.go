package evaluate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Metrics say how well predictions meet the truth. It is what metrics.json holds; its
// fields are written in this order.
type Metrics struct {
	Pictures int      `json:"pictures"`
	Accuracy Accuracy `json:"accuracy"`
	Classes  []Class  `json:"classes"` // in the order of the labels
	// Macro is the plain mean over the classes, Weighted the mean by support.
	Macro    Average `json:"macro"`
	Weighted Average `json:"weighted"`
	// Confusion counts pictures by true (row) and predicted (column) label.
	Confusion [][]int `json:"confusion"`
	// RepeatArticle says that the pictures are those that the model was trained on.
	RepeatArticle bool `json:"repeat_article,omitempty"`
}

// Accuracy is a share with its 95 % confidence interval.
type Accuracy struct {
	Correct int     `json:"correct"`
	Value   float64 `json:"value"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// Class holds the measures of one label.
type Class struct {
	Label     string  `json:"label"`
	Precision float64 `json:"precision"` // share of the pictures predicted so that are; 0 if none is
	Recall    float64 `json:"recall"`    // share of the pictures that are so that are predicted; 0 if none is
	F1        float64 `json:"f1"`        // harmonic mean of both; 0 if both are
	Support   int     `json:"support"`   // pictures that are so
}

// Average is a mean over the classes.
type Average struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

// measure computes the metrics of a confusion matrix, which must hold at least one
// picture.
func measure(labels []string, confusion [][]int) Metrics {
	m := Metrics{Confusion: confusion}
	for i, label := range labels {
		right, support, predicted := confusion[i][i], 0, 0
		for j := range labels {
			support += confusion[i][j]
			predicted += confusion[j][i]
		}
		m.Classes = append(m.Classes, Class{
			Label:     label,
			Precision: ratio(right, predicted),
			Recall:    ratio(right, support),
			F1:        ratio(2*right, support+predicted),
			Support:   support,
		})
		m.Pictures += support
		m.Accuracy.Correct += right
	}
	m.Accuracy.Value = ratio(m.Accuracy.Correct, m.Pictures)
	m.Accuracy.Low, m.Accuracy.High = wilson(m.Accuracy.Correct, m.Pictures)
	m.Macro = m.average(func(Class) float64 { return 1 })
	m.Weighted = m.average(func(c Class) float64 { return float64(c.Support) })
	return m
}

// ratio is a/b, and 0 where that is undefined (scikit-learn's zero_division=0).
func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func (m Metrics) average(weight func(Class) float64) Average {
	var a Average
	sum := 0.0
	for _, c := range m.Classes {
		w := weight(c)
		a.Precision += float64(c.Precision * w) // rounded before it is added, on every processor
		a.Recall += float64(c.Recall * w)
		a.F1 += float64(c.F1 * w)
		sum += w
	}
	return Average{Precision: a.Precision / sum, Recall: a.Recall / sum, F1: a.F1 / sum}
}

// wilson is the 95 % score interval of a share (Wilson, "Probable inference, the law
// of succession, and statistical inference", JASA 22, 1927). Unlike the textbook's
// normal approximation it is right for few pictures and for shares near 0 and 1.
func wilson(correct, total int) (low, high float64) {
	const z = 1.959963984540054 // 97.5 % of a normal distribution lie below
	n := float64(total)
	p := float64(correct) / n
	scale := 1 + z*z/n
	centre := p + z*z/(2*n)
	spread := z * math.Sqrt(float64(p*(1-p)/n)+z*z/(4*n*n))
	return max(0, (centre-spread)/scale), min(1, (centre+spread)/scale)
}

// encode writes metrics.json.
func (m Metrics) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode %s: %w", MetricsFile, err)
	}
	return b.Bytes(), nil
}

// caveat heads the report of a repeated article.
const caveat = `THE ARTICLE'S PROCEDURE, REPEATED (model.repeat_article): these are the pictures that the
model was trained on, all of them. Compare the numbers with the article's (accuracy 0.73 on its
2,508 pictures), and not with those of other models: they do not say how good the model is on
pictures that it has not seen.

`

// report is what a person reads.
func (m Metrics) report() string {
	var b strings.Builder
	if m.RepeatArticle {
		b.WriteString(caveat)
	}
	b.WriteString(m.classification())
	b.WriteString("\nConfusion matrix (a row for each true label, a column for each predicted one)\n\n")
	b.WriteString(m.matrix())
	fmt.Fprintf(&b, "\nAccuracy %.4f (%d of %d), 95 %% confidence interval %.4f to %.4f (Wilson)\n",
		m.Accuracy.Value, m.Accuracy.Correct, m.Pictures, m.Accuracy.Low, m.Accuracy.High)
	return b.String()
}

// classification is scikit-learn's classification_report, to the byte. (But where
// not one prediction is right: scikit-learn 1.9 then counts support as "7.0".)
func (m Metrics) classification() string {
	width := utf8.RuneCountInString("weighted avg")
	for _, c := range m.Classes {
		width = max(width, utf8.RuneCountInString(c.Label))
	}
	var b strings.Builder
	row := func(name, precision, recall, f1, support string) {
		fmt.Fprintf(&b, "%*s  %9s %9s %9s %9s\n", width, name, precision, recall, f1, support)
	}
	two := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	average := func(name string, a Average) {
		row(name, two(a.Precision), two(a.Recall), two(a.F1), fmt.Sprint(m.Pictures))
	}
	row("", "precision", "recall", "f1-score", "support")
	b.WriteByte('\n')
	for _, c := range m.Classes {
		row(c.Label, two(c.Precision), two(c.Recall), two(c.F1), fmt.Sprint(c.Support))
	}
	b.WriteByte('\n')
	row("accuracy", "", "", two(m.Accuracy.Value), fmt.Sprint(m.Pictures))
	average("macro avg", m.Macro)
	average("weighted avg", m.Weighted)
	return b.String()
}

// matrix is the confusion matrix as a table.
func (m Metrics) matrix() string {
	first := 0
	for _, c := range m.Classes {
		first = max(first, utf8.RuneCountInString(c.Label))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%*s", first, "")
	widths := make([]int, len(m.Classes))
	for i, c := range m.Classes {
		widths[i] = max(utf8.RuneCountInString(c.Label), len(fmt.Sprint(m.Pictures)))
		fmt.Fprintf(&b, "  %*s", widths[i], c.Label)
	}
	b.WriteByte('\n')
	for i, c := range m.Classes {
		fmt.Fprintf(&b, "%*s", first, c.Label)
		for j, count := range m.Confusion[i] {
			fmt.Fprintf(&b, "  %*d", widths[j], count)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
