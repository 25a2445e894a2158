package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// phrases tell licences apart by what only they say, the more particular first.
var phrases = []struct{ id, text string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from this software without specific prior written permission"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms, with or without modification, are permitted"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
}

// licencesOf returns the licences in the folder of a module, by SPDX's names.
func licencesOf(dir string) ([]string, error) {
	var found, unknown []string
	for _, pattern := range []string{"LICENSE*", "LICENCE*", "License*", "license*", "COPYING*", "UNLICENSE*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("look for its licence: %w", err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("read its licence: %w", err)
			}
			if id := licenceIn(string(text)); id != "" {
				found = append(found, id)
			} else {
				unknown = append(unknown, filepath.Base(file))
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) == 0 {
		return nil, fmt.Errorf("found no licence that is known here (looked at %q): read it and add what it says to the phrases in .ci/sbom", unknown)
	}
	return found, nil
}

// licenceIn returns the licence that a text is.
func licenceIn(text string) string {
	plain := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, phrase := range phrases {
		if strings.Contains(plain, strings.ToLower(phrase.text)) {
			return phrase.id
		}
	}
	return ""
}
