package generate

import (
	"errors"
	"strings"
	"testing"
)

// plannedCpp returns what is generated in C++ for a .proto file.
func plannedCpp(t *testing.T, name, content string) map[string]string {
	t.Helper()
	result, err := Plan(t.Context(), project(t, map[string]string{name: content}, map[string]string{"cpp": "cpp"}))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, step := range result.Steps {
		files[step.File.Path] = string(step.File.Content)
	}
	return files
}

const cppDomain = `
import "angzarr/options.proto";
option (angzarr.domain) = "sales";
message Open { option (angzarr.kind) = KIND_COMMAND; }
message Opened { option (angzarr.kind) = KIND_EVENT; }
message Sales { option (angzarr.kind) = KIND_STATE; }
`

func TestCppFollowsThePackage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, content, header string
		want                  []string
	}{
		{"sales.proto", "syntax = \"proto3\";\npackage shop.sales;" + cppDomain, "cpp/gen/sales_rules.h", []string{"namespace shop::sales {", `#include "sales.pb.h"`}},
		{"shop/sales.proto", "syntax = \"proto3\";" + cppDomain, "cpp/gen/shop_sales_rules.h", []string{"class ShopSalesRules : public angzarr::Rules {", `#include "shop/sales.pb.h"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := plannedCpp(t, test.name, test.content)[test.header]
			for _, want := range append(test.want, "HandleOpen(", "ApplyOpened(") {
				if !strings.Contains(header, want) {
					t.Errorf("%s lacks %s:\n%s", test.header, want, header)
				}
			}
			if hasNamespace := strings.Contains(header, "\nnamespace"); hasNamespace != strings.Contains(test.content, "package") {
				t.Errorf("a namespace: %v\n%s", hasNamespace, header)
			}
		})
	}
}

func TestCppNeedsCMake(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Plan(t.Context(), project(t, map[string]string{"sales.proto": "syntax = \"proto3\";" + cppDomain}, map[string]string{"cpp": "cpp"}))
	missing := &MissingTool{}
	if !errors.As(err, &missing) || missing.Tool != "cmake" || !strings.Contains(err.Error(), "libgrpc++-dev") {
		t.Errorf("got %v, want how to get cmake", err)
	}
}
