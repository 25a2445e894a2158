package scaffold

import (
	"strings"
	"testing"
)

func TestRustNamesAreThoseOfProst(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"CreateCustomer": "CreateCustomer", "CreateB2BShop": "CreateB2bShop", "HTTPOpened": "HttpOpened",
		"Order2Placed": "Order2Placed", "OrderV2Created": "OrderV2Created", "open_shop": "OpenShop", "Self": "Self_",
	} {
		if got := rustType(&Message{Spelling: name}); got != want {
			t.Errorf("the message %s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"email": "email", "type": "r#type", "self": "self_", "firstName": "first_name", "line_2": "line_2"} {
		if got := rustField(Field{Spelling: name}); got != want {
			t.Errorf("the field %s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"": "crate::proto", "shop.v1": "crate::proto::shop::v1", "a.Type": "crate::proto::a::r#type"} {
		if got := rustModule(name); got != want {
			t.Errorf("the package %q is %s, want %s", name, got, want)
		}
	}
}

func TestALockFileIsInOrder(t *testing.T) {
	t.Parallel()
	packages := func(names ...string) string {
		text := "# made by cargo\nversion = 4\n"
		for _, name := range names {
			text += "\n[[package]]\nname = \"" + name + "\"\nversion = \"1.0.0\"\n"
		}
		return text
	}
	if got, want := string(sortedLock([]byte(packages("zebra", "anyhow", "tonic", "tonic-prost")))), packages("anyhow", "tonic", "tonic-prost", "zebra"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := string(sortedLock([]byte("version = 4\n"))); !strings.HasPrefix(got, "version = 4\n") {
		t.Errorf("without packages: %q", got)
	}
}
