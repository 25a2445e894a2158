package payload_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/angz-dev/angz/runtime/payload"
)

const shopCustomer = `syntax = "proto3";
package shop.customer.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/any.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "angzarr/types.proto";

message CreateCustomer {
  string name = 1;
  string email = 2;
}
message CustomerCreated {
  string name = 1;
  int64 points_balance = 2;
  google.protobuf.Timestamp at = 3;
  repeated Line lines = 4;
  map<string, uint64> counts = 5;
  map<int32, Line> by_number = 6;
  google.protobuf.Any extra = 7;
  Tier tier = 8;
  bytes token = 9;
  double rate = 10;
  float ratio = 11;
  bool active = 12;
  oneof contact { string phone = 13; string post = 14; }
  google.protobuf.Struct notes = 15;
  google.protobuf.Int64Value limit = 16;
  angzarr.Cover about = 17;
  optional uint32 age = 18;
  google.protobuf.Value anything = 19;
  CustomerCreated previous = 20;
  message Line { string sku = 1; uint32 quantity = 2; }
}
enum Tier { TIER_NONE = 0; TIER_GOLD = 1; }
message Placed { string by = 1; }
`

const shopOrder = `syntax = "proto3";
package shop.order.v1;
message CreateOrder { string customer = 1; }
message Placed { string at = 1; }
`

const shopShared = `syntax = "proto3";
package shop.shared;
message Placed { string it = 1; }
message Money { int64 cents = 1; }
`

// shop returns the schema of a small project, written to a folder of its own.
func shop(t testing.TB) *payload.Schema {
	t.Helper()
	dir := folder(t, map[string]string{"shop/customer.proto": shopCustomer, "shop/order.proto": shopOrder, "shop/shared.proto": shopShared})
	schema, err := payload.Load(t.Context(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// folder writes files below a new folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(ctx context.Context, paths ...string) (*payload.Schema, error) {
	return payload.Load(ctx, paths, nil)
}
