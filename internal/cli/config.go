package cli

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// configuration is the user's config file.
type configuration struct {
	Registry string      `yaml:"registry"` // where packages are looked for and pushed to
	Cache    sharedCache `yaml:"cache"`    // that a team shares
	Endpoint string      `yaml:"endpoint"` // of the S3 server of both
	Region   string      `yaml:"region"`   // of the buckets of both
	Index    string      `yaml:"index"`    // a folder with an index of box files
}

// index is the folder of the index that environment or config file name; empty if none does.
func (a *app) index() (string, error) {
	if folder := a.Getenv("SANDWICH_INDEX"); folder != "" {
		return folder, nil
	}
	c, err := a.configuration()
	return c.Index, err
}

// sharedCache says which cache is shared, and how.
type sharedCache struct {
	Remote string    `yaml:"remote"`
	Mode   cacheMode `yaml:"mode"`
}

// configuration reads the config file; the zero configuration when there is none.
func (a *app) configuration() (configuration, error) {
	path := a.Getenv("SANDWICH_CONFIG")
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return configuration{}, nil // nowhere to keep one
		}
		path = filepath.Join(dir, "sandwich", "config.yaml")
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return configuration{}, nil
	}
	if err != nil {
		return configuration{}, err
	}
	var c configuration
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return configuration{}, usagef("`sandwich help environment` lists what the config file may have", "%s: %v", path, err)
	}
	return c, nil
}
