// Package book holds the pure rules on the words of the wire contract: which
// aggregate a cover names, which number comes next, what joins a workflow. It
// does no I/O and keeps no state, so that every role, driver and tool decides
// these things in the same way.
package book

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Key identifies an aggregate: its root within its domain.
type Key struct {
	Domain string
	Root   uuid.UUID
}

// String returns "domain/root" for messages and logs.
func (k Key) String() string { return k.Domain + "/" + k.Root.String() }

// Slice returns the slice of a subscription that the aggregate is in, among the
// given number of slices. It is the same in every process and version.
func (k Key) Slice(slices int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(k.Domain))
	_, _ = hash.Write(k.Root[:])
	return int(hash.Sum32() % uint32(slices))
}

// Cover returns the wire form of the key. name is the human name of the
// aggregate, empty if there is none.
func (k Key) Cover(name string) *pb.Cover {
	return &pb.Cover{Domain: k.Domain, Root: &pb.UUID{Value: append([]byte(nil), k.Root[:]...)}, AggregateId: name}
}

// Invalid says which part of a message is wrong and what belongs there.
type Invalid struct {
	Field string // path of the field, such as "cover.root.value"
	Found string // what was there
	Want  string // what belongs there
}

func (e *Invalid) Error() string {
	return fmt.Sprintf("%s: found %s, expected %s", e.Field, e.Found, e.Want)
}

// KeyOf reads the aggregate that a cover names. A cover with a human name and
// no root names the root derived from it. The error is an *Invalid.
func KeyOf(cover *pb.Cover) (Key, error) {
	if cover == nil {
		return Key{}, &Invalid{"cover", "nothing", "the aggregate's domain and root"}
	}
	if err := checkDomain("cover.domain", cover.Domain); err != nil {
		return Key{}, err
	}
	root, err := rootOf("cover.", cover.Domain, cover.Root, cover.AggregateId)
	return Key{Domain: cover.Domain, Root: root}, err
}

// KeyFrom reads the aggregate that a message with separate domain, root and
// aggregate_id fields names. The error is an *Invalid.
func KeyFrom(domain string, root *pb.UUID, aggregateID string) (Key, error) {
	if err := checkDomain("domain", domain); err != nil {
		return Key{}, err
	}
	id, err := rootOf("", domain, root, aggregateID)
	return Key{Domain: domain, Root: id}, err
}

func checkDomain(field, domain string) error {
	if domain == "" {
		return &Invalid{field, "nothing", `the name of a domain, such as "customer"`}
	}
	return nil
}

func rootOf(prefix, domain string, root *pb.UUID, aggregateID string) (uuid.UUID, error) {
	if root == nil || len(root.Value) == 0 {
		if aggregateID == "" {
			return uuid.Nil, &Invalid{prefix + "root", "nothing", "16 bytes, or an aggregate_id instead"}
		}
		return Root(domain, aggregateID), nil
	}
	if len(root.Value) != 16 {
		return uuid.Nil, &Invalid{prefix + "root.value", fmt.Sprintf("%d bytes", len(root.Value)), "exactly 16 bytes"}
	}
	return uuid.UUID(root.Value), nil
}

// Root derives the root of the aggregate that people call aggregateID in
// domain. The text of a UUID, in its canonical form, is that root itself.
func Root(domain, aggregateID string) uuid.UUID {
	if root, ok := canonicalUUID(aggregateID); ok {
		return root
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("angzarr"+domain+aggregateID))
}

// Name returns the human name to remember for an aggregate: aggregateID, unless
// it is the text of a UUID and so says nothing that the root does not.
func Name(aggregateID string) string {
	if _, ok := canonicalUUID(aggregateID); ok {
		return ""
	}
	return aggregateID
}

func canonicalUUID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	root, err := uuid.Parse(text)
	return root, err == nil
}

// TypeName returns the full message name that a type URL stands for: the text
// after its last slash. Prefixes are never compared.
func TypeName(typeURL string) string {
	return typeURL[strings.LastIndexByte(typeURL, '/')+1:]
}

// ShortName returns the message name without its package.
func ShortName(typeURL string) string {
	name := TypeName(typeURL)
	return name[strings.LastIndexByte(name, '.')+1:]
}
