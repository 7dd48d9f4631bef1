package auditlog

import (
	"encoding/base64"
	"strings"
)

// appendLeavesHead appends the first line of a file of leaves.
func appendLeavesHead(b []byte, cert string, cpLine []byte) []byte {
	b = appendNoted(b, "cert", cert)
	b = append(b[:len(b)-2], `,"cp":"`...)
	b = base64.StdEncoding.AppendEncode(b, cpLine)
	return append(b, "\"}\n"...)
}

func decodeLine(s string) ([]byte, bool) {
	b, err := strictBase64.DecodeString(s)
	return b, err == nil
}

// note returns the signed note that the line of a checkpoint holds.
func (c *checkpoint) note() string {
	text := strings.TrimSuffix(strings.TrimPrefix(string(c.raw), cpHead), `"}`)
	return strings.ReplaceAll(text, `\n`, "\n")
}
