package transport_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/transport"
)

func TestACallThatIsBrokenOnPurposeIsBroken(t *testing.T) {
	t.Parallel()
	err := transport.NewBroken("the connection to it broke")
	if !transport.Broken(err) || transport.Unreachable(err) || status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "the connection to it broke" {
		t.Errorf("told %v", err)
	}
	if !transport.Broken(fmt.Errorf("ask it: %w", err)) {
		t.Error("not recognised when it is wrapped")
	}
}
