package main

import (
	"errors"
	"fmt"
	"os"

	"charm.land/huh/v2"
)

// prompt asks a person. Leaving without an answer is an error.
func (o *newOptions) prompt(questions []question) error {
	var fields []huh.Field
	for _, q := range questions {
		if len(q.choices) > 0 {
			fields = append(fields, huh.NewSelect[string]().Title(q.title).Options(huh.NewOptions(q.choices...)...).Value(q.answer))
			continue
		}
		fields = append(fields, huh.NewInput().Title(q.title).Validate(q.check).Value(q.answer))
	}
	form := huh.NewForm(huh.NewGroup(fields...)).WithInput(o.s.in).WithOutput(o.s.err)
	if _, noColor := o.s.lookup("NO_COLOR"); noColor || os.Getenv("TERM") == "dumb" {
		form = form.WithAccessible(true)
	}
	err := form.Run()
	if errors.Is(err, huh.ErrUserAborted) {
		return errors.New("nothing was written: the questions were left unanswered")
	}
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}
