package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html.tmpl
var pageText string

// page is what the template shows.
type page struct {
	Findings *findings
	Sheets   []pageSheet
}

// pageSheet is a contact sheet on the page.
type pageSheet struct {
	Name, Title, About string
	Image              template.URL
}

func (p *page) add(s *contact, name string, data []byte) {
	p.Sheets = append(p.Sheets, pageSheet{Name: name, Title: s.title, About: s.about, Image: embedded("image/png", data)})
}

// embedded is a picture as a URL that holds it.
func embedded(kind string, data []byte) template.URL {
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)) //nolint:gosec // the bytes are ours, and base64 has no quotes
}

// Curve is the learning curve.
func (p *page) Curve() template.URL { return embedded("image/svg+xml", p.Findings.Curve) }

// maxRows bounds the tables of the page; the files beside it have all rows.
const maxRows = 100

func (p *page) render() ([]byte, error) {
	functions := template.FuncMap{
		"percent": func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
		"three":   func(v float64) string { return fmt.Sprintf("%.3f", v) },
		"share": func(row []int, n int) template.CSS {
			total := 0
			for _, v := range row {
				total += v
			}
			return template.CSS(fmt.Sprintf("background:rgba(31,119,180,%.2f)", 0.6*float64(n)/float64(max(total, 1)))) //nolint:gosec // a number
		},
		"first": func(n int) int { return min(n, maxRows) },
		"label": func(p *page, i int) string { return p.Findings.Metrics.Classes[i].Label },
		"colour": func(p *page, label string) template.CSS {
			c := p.Findings.colour(label)
			return template.CSS(fmt.Sprintf("background:#%02x%02x%02x", c.R, c.G, c.B)) //nolint:gosec // a number
		},
		"join": func(names []string) string { return strings.Join(names, ", ") },
	}
	t, err := template.New("page").Funcs(functions).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
