package evaluate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const history = "epoch,loss,accuracy,val_loss,val_accuracy\n1,2,0.25,1,0.5\n2,1,0.5,,\n3,0.5,1,0.5,0.75\n"

func TestCurve(t *testing.T) {
	c, err := parseHistory([]byte(history))
	if err != nil {
		t.Fatal(err)
	}
	svg := c.draw()
	if !bytes.Equal(svg, c.draw()) {
		t.Error("drawn again, the picture has other bytes")
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	for _, want := range []string{
		`points="56.0,34.0 266.0,154.0 476.0,214.0"`,  // loss: 2, 1, 0.5 of 2
		`points="56.0,154.0 476.0,214.0"`,             // val_loss, of which one is missing
		`points="572.0,214.0 782.0,154.0 992.0,34.0"`, // accuracy: ¼, ½, 1
	} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte(history))
	f.Add([]byte("epoch,loss\n1,NaN\n"))
	f.Add([]byte("epoch,loss\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if c, err := parseHistory(text); err == nil {
			c.draw()
		}
	})
}
