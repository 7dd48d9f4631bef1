package scsguard

// encoding/gob believes the numbers that it reads: a map that claims to have a
// billion entries gets room for them before the first one is read, and the process
// dies. So session data in gob is walked through first, as gob would, without
// keeping anything. A number of items is refused if what follows cannot hold them.
//
// The form is that of the documentation of encoding/gob. A stream is messages,
// each behind its length: definitions of types, then a value. In the middle of a
// value, an interface may define further types, in messages of their own.

// checkGob reports whether b can be decoded within little more memory than it is
// long. What it accepts may still be malformed.
func checkGob(b []byte) error {
	g := gobChecker{stream: b, types: make(map[int64]gobType)}
	if id := g.typeSequence(false); !g.bad {
		g.value(id, 0)
	}
	if g.bad {
		return errCodec
	}
	return nil
}

// The numbers of gob's own types.
const (
	gobBool = iota + 1
	gobInt
	gobUint
	gobFloat
	gobBytes
	gobString
	gobComplex
	gobInterface

	gobFirstUser = 64
)

// What a defined type is.
const (
	gobArray = iota
	gobSlice
	gobStruct
	gobMap
	gobOpaque // encodes itself: GobEncoder, BinaryMarshaler, TextMarshaler
	gobOpaqueBinary
	gobOpaqueText
)

type gobType struct {
	kind      int
	key, elem int64
	fields    []int64
}

// maxGobDepth bounds how deep values may lie in each other: what is long in an
// application's own list, and short for the stack.
const maxGobDepth = 10_000

// gobChecker walks through a stream. Like gob it looks into one message at a time.
type gobChecker struct {
	stream  []byte // what follows the message
	message []byte
	types   map[int64]gobType
	bad     bool
}

func (g *gobChecker) fail() {
	g.bad, g.stream, g.message = true, nil, nil
}

// gobUintOf reads a number off the front of b. A byte below 128 is the number; any
// other is the number's length in bytes, negated.
func gobUintOf[T string | []byte](b T) (v uint64, rest T, ok bool) {
	if len(b) == 0 {
		return 0, b, false
	}
	if b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	n := -int(int8(b[0]))
	if n > 8 || n >= len(b) {
		return 0, b, false
	}
	for i := 1; i <= n; i++ {
		v = v<<8 | uint64(b[i])
	}
	return v, b[n+1:], true
}

func (g *gobChecker) uint() uint64 {
	v, rest, ok := gobUintOf(g.message)
	if !ok {
		g.fail()
		return 0
	}
	g.message = rest
	return v
}

func (g *gobChecker) int() int64 {
	v := g.uint()
	if v&1 != 0 {
		return ^int64(v >> 1)
	}
	return int64(v >> 1)
}

// skip passes over as many bytes as a number says.
func (g *gobChecker) skip() {
	g.pass(g.uint())
}

func (g *gobChecker) pass(n uint64) {
	if n > uint64(len(g.message)) {
		g.fail()
		return
	}
	g.message = g.message[n:]
}

// count reads how many items follow, of so many bytes at the least.
func (g *gobChecker) count(least int) int {
	n := g.uint()
	if n > uint64((len(g.message)+len(g.stream))/least) {
		g.fail()
		return 0
	}
	return int(n)
}

// typeSequence reads definitions of types until a value follows, and returns its
// type.
func (g *gobChecker) typeSequence(inValue bool) int64 {
	for !g.bad {
		if len(g.message) == 0 {
			n, rest, ok := gobUintOf(g.stream)
			if !ok || n > uint64(len(rest)) {
				g.fail()
				break
			}
			g.message, g.stream = rest[:n], rest[n:]
		}
		id := g.int()
		if id >= 0 {
			return id
		}
		g.define(-id)
		if len(g.message) == 0 {
			continue
		}
		if !inValue {
			g.fail()
			break
		}
		g.uint() // how long the next piece is
	}
	return 0
}

func (g *gobChecker) define(id int64) {
	if _, twice := g.types[id]; twice || id < gobFirstUser {
		g.fail()
		return
	}
	var t gobType
	g.fieldsOf(func(kind int) {
		t.kind = kind
		if kind > gobOpaqueText {
			g.fail()
			return
		}
		g.fieldsOf(func(field int) { g.definition(&t, field) })
	})
	g.types[id] = t
}

// definition reads one field of the definition of a type. The first is always its
// name and number.
func (g *gobChecker) definition(t *gobType, field int) {
	switch {
	case field == 0:
		g.fieldsOf(g.nameAndNumber(nil))
	case t.kind == gobMap && field == 1:
		t.key = g.int()
	case t.kind == gobMap && field == 2, t.kind == gobSlice && field == 1, t.kind == gobArray && field == 1:
		t.elem = g.int()
	case t.kind == gobArray && field == 2:
		g.int() // its length, which gob compares with the type that it decodes to
	case t.kind == gobStruct && field == 1:
		for range g.count(1) {
			var id int64
			g.fieldsOf(g.nameAndNumber(&id))
			if g.bad {
				return
			}
			t.fields = append(t.fields, id)
		}
	default:
		g.fail()
	}
}

func (g *gobChecker) nameAndNumber(id *int64) func(int) {
	return func(field int) {
		switch field {
		case 0:
			g.skip()
		case 1:
			n := g.int()
			if id != nil {
				*id = n
			}
		default:
			g.fail()
		}
	}
}

// fieldsOf calls f for each field of a struct that is there: they are numbered by
// their distance from the one before, and a distance of 0 is the end.
func (g *gobChecker) fieldsOf(f func(field int)) {
	field := -1
	for {
		delta := g.uint()
		if g.bad || delta == 0 {
			return
		}
		if delta > 1<<16 {
			g.fail()
			return
		}
		field += int(delta)
		f(field)
	}
}

// value walks through a value by itself: of the stream, or in an interface. What is
// no struct has a zero before it.
func (g *gobChecker) value(id int64, depth int) {
	if t, defined := g.types[id]; (!defined || t.kind != gobStruct) && g.uint() != 0 {
		g.fail()
	}
	g.item(id, depth)
}

// item walks through a value within another one.
func (g *gobChecker) item(id int64, depth int) {
	if depth++; depth > maxGobDepth {
		g.fail()
	}
	if g.bad {
		return
	}
	switch id {
	case gobBool, gobInt, gobUint, gobFloat:
		g.uint()
	case gobComplex:
		g.uint()
		g.uint()
	case gobBytes, gobString:
		g.skip()
	case gobInterface:
		g.interfaceValue(depth)
	default:
		g.defined(id, depth)
	}
}

func (g *gobChecker) interfaceValue(depth int) {
	name := g.uint()
	if name == 0 {
		return // nil
	}
	g.pass(name)
	id := g.typeSequence(true)
	g.uint() // how long it is, for those who pass over it
	if !g.bad {
		g.value(id, depth)
	}
}

func (g *gobChecker) defined(id int64, depth int) {
	t, ok := g.types[id]
	if !ok {
		g.fail()
		return
	}
	switch t.kind {
	case gobArray, gobSlice:
		for range g.count(1) {
			if g.item(t.elem, depth); g.bad {
				return
			}
		}
	case gobMap:
		for range g.count(2) {
			g.item(t.key, depth)
			if g.item(t.elem, depth); g.bad {
				return
			}
		}
	case gobStruct:
		g.fieldsOf(func(field int) {
			if field >= len(t.fields) {
				g.fail()
				return
			}
			g.item(t.fields[field], depth)
		})
	default:
		g.skip()
	}
}
