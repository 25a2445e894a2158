package runtimetest

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// AnswersGarbage makes a stand-in answer with bytes that are no message.
func AnswersGarbage(s *Service) {
	s.health = false
	s.options = append(s.options, grpc.ForceServerCodecV2(garbage{encoding.GetCodecV2(proto.Name)}))
}

type garbage struct{ encoding.CodecV2 }

func (garbage) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer("\xff\xff\xff no protobuf at all")}, nil
}
