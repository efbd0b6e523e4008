package evaluate

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The golden reports are scikit-learn 1.9's classification_report(…, zero_division=0).
func TestReportIsScikitLearns(t *testing.T) {
	data, err := os.ReadFile("testdata/reports.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string
		Labels []string
		Pairs  [][2]int // true and predicted
		Report string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			m := measure(c.Labels, count(len(c.Labels), c.Pairs))
			want := c.Report
			if m.Accuracy.Correct == 0 {
				want = floatSupport.Replace(want)
			}
			if diff := cmp.Diff(want, m.classification()); diff != "" {
				t.Errorf("report (-scikit-learn +ours):\n%s", diff)
			}
			if !strings.HasPrefix(m.report(), m.classification()) {
				t.Error("report.txt does not begin with the classification report")
			}
		})
	}
}

// floatSupport undoes what the comment at classification tells of.
var floatSupport = strings.NewReplacer("      1.0\n", "        1\n", "      2.0\n", "        2\n")

func count(labels int, pairs [][2]int) [][]int {
	confusion := make([][]int, labels)
	for i := range confusion {
		confusion[i] = make([]int, labels)
	}
	for _, p := range pairs {
		confusion[p[0]][p[1]]++
	}
	return confusion
}

func TestReport(t *testing.T) {
	m := measure([]string{"Hamburger", "Sandwich"}, [][]int{{8, 2}, {1, 9}})
	const want = `              precision    recall  f1-score   support

   Hamburger       0.89      0.80      0.84        10
    Sandwich       0.82      0.90      0.86        10

    accuracy                           0.85        20
   macro avg       0.85      0.85      0.85        20
weighted avg       0.85      0.85      0.85        20

Confusion matrix (a row for each true label, a column for each predicted one)

           Hamburger  Sandwich
Hamburger          8         2
 Sandwich          1         9

Accuracy 0.8500 (17 of 20), 95 % confidence interval 0.6396 to 0.9476 (Wilson)
`
	if diff := cmp.Diff(want, m.report()); diff != "" {
		t.Errorf("report.txt (-want +got):\n%s", diff)
	}
}

// The values are those of statsmodels' proportion_confint(method="wilson"), and, for
// 81 of 263, of Newcombe's "Two-sided confidence intervals for the single proportion"
// (Statistics in Medicine 17, 1998, table I).
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		correct, total int
		low, high      float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
		{20, 20, 0.8389, 1},
	} {
		low, high := wilson(c.correct, c.total)
		if math.Abs(low-c.low) > 5e-5 || math.Abs(high-c.high) > 5e-5 {
			t.Errorf("wilson(%d, %d) = %.4f, %.4f, want %.4f, %.4f", c.correct, c.total, low, high, c.low, c.high)
		}
	}
}

func TestMetricsFile(t *testing.T) {
	got, err := measure([]string{"a", "b"}, [][]int{{1, 0}, {1, 2}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "pictures": 4,
  "accuracy": {
    "correct": 3,
    "value": 0.75,
    "low": 0.3006418425824019,
    "high": 0.9544127391902995
  },
  "classes": [
    {
      "label": "a",
      "precision": 0.5,
      "recall": 1,
      "f1": 0.6666666666666666,
      "support": 1
    },
    {
      "label": "b",
      "precision": 1,
      "recall": 0.6666666666666666,
      "f1": 0.8,
      "support": 3
    }
  ],
  "macro": {
    "precision": 0.75,
    "recall": 0.8333333333333333,
    "f1": 0.7333333333333334
  },
  "weighted": {
    "precision": 0.875,
    "recall": 0.75,
    "f1": 0.7666666666666667
  },
  "confusion": [
    [
      1,
      0
    ],
    [
      1,
      2
    ]
  ]
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("metrics.json (-want +got):\n%s", diff)
	}
}
