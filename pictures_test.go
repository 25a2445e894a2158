package angz_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPicturesOfTheDocs makes sure that the pictures that the docs show are there,
// that none lies about that nobody sees, and that they say nothing of the machine on
// which they were taken.
func TestPicturesOfTheDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`!\[([^\]]*)\]\(([^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
			if len(found[1]) < 20 {
				t.Errorf("%s: the picture %s needs a text for who cannot see it", page, found[2])
			}
			shown[filepath.Join(filepath.Dir(page), found[2])] = true
		}
	}
	for picture := range shown {
		checkPicture(t, picture)
	}
	pictures, err := filepath.Glob("docs/pictures/*.svg")
	if err != nil || len(pictures) == 0 {
		t.Fatalf("%d pictures: %v", len(pictures), err)
	}
	for _, picture := range pictures {
		if !shown[picture] {
			t.Errorf("no page shows %s: show it, or take it out of docs/pictures/scenes.sh", picture)
		}
	}
}

func checkPicture(t *testing.T, picture string) {
	t.Helper()
	text, err := os.ReadFile(picture)
	if err != nil {
		t.Error(err)
		return
	}
	for decoder := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("%s: %v", picture, err)
			return
		}
	}
	if found := regexp.MustCompile(`/(tmp|home|root|Users|work|var)/|@import|font-face|href`).Find(text); found != nil {
		t.Errorf("%s: found %q: a picture needs nothing else and says nothing of a machine", picture, found)
	}
}
