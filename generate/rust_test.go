package generate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rustShop = `syntax = "proto3";
package shop.v1;
import "angzarr/options.proto";
option (angzarr.domain) = "shop";
message OpenB2BShop { option (angzarr.kind) = KIND_COMMAND; }
message ShopOpened { option (angzarr.kind) = KIND_EVENT; }
message ShopState { option (angzarr.kind) = KIND_STATE; }
`

func rustProject(t *testing.T) Project {
	t.Helper()
	return project(t, map[string]string{"shop/shop.proto": rustShop}, map[string]string{"services/rust": "rust"})
}

// pathWith makes a PATH of one folder with programs that do nothing.
func pathWith(t *testing.T, programs ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestRustHasItsRulesInATrait(t *testing.T) {
	pathWith(t, "cargo")
	project := rustProject(t)
	if _, err := Run(t.Context(), project); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"mod.rs": {"pub mod shop_shop;", "ShopShop(shop_shop::Event)"},
		"shop_shop.rs": {
			"pub use crate::proto::shop::v1::*;", `"shop.v1.OpenB2BShop" =>`,
			"fn handle_open_b2_b_shop(command: messages::OpenB2bShop, state: &messages::ShopState) -> Decision;",
			"fn apply_shop_opened(state: &mut messages::ShopState, event: messages::ShopOpened);",
		},
	} {
		content, err := os.ReadFile(filepath.Join(project.Dir, "services", "rust", "src", "generated", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(content), want) {
				t.Errorf("%s lacks %s:\n%s", name, want, content)
			}
		}
	}
}

func TestRustNeedsCargo(t *testing.T) {
	pathWith(t)
	_, err := Plan(t.Context(), rustProject(t))
	if missing := (*MissingTool)(nil); !errors.As(err, &missing) || missing.Tool != "cargo" {
		t.Errorf("without Cargo: %v", err)
	}
}
