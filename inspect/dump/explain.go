package dump

import (
	"errors"
	"fmt"

	"github.com/angz-dev/angz/runtime/payload"
)

// explain says why the JSON of a payload gives no bytes.
func (r *Reader) explain(typeURL string, err error) error {
	if missing := (*payload.NotFound)(nil); errors.As(err, &missing) {
		return fmt.Errorf("payload: the type %q is not known here: run this where its .proto files are, or export with --raw", typeURL)
	}
	return fmt.Errorf("payload: %w", err)
}
