// The oracle of the take-over tests: what Flux's server-side apply library makes of an object before it sends it.
//
//	table       prints the typed form of every kind that the library knows, from the types themselves
//	normalise   reads JSON objects, one a line, and prints them as the library would send them
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/fluxcd/pkg/ssa/normalize"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "table" {
		table()
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := json.Unmarshal(lines.Bytes(), &object.Object); err != nil {
			panic(err)
		}
		if err := normalize.UnstructuredList([]*unstructured.Unstructured{object}); err != nil {
			panic(err)
		}
		text, err := json.Marshal(object.Object)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}

var (
	quantity  = reflect.TypeOf(resource.Quantity{})
	intOrText = reflect.TypeOf(intstr.IntOrString{})
	marshaler = reflect.TypeOf((*json.Marshaler)(nil)).Elem()
	times     = map[reflect.Type]bool{
		reflect.TypeOf(metav1.Time{}): true, reflect.TypeOf(metav1.MicroTime{}): true,
	}
)

type row struct{ fields []string }

// Versions that no current server serves by default are left out.
func served(version string) bool { return !strings.Contains(version, "alpha") }

func table() {
	structs, kinds := map[string]*row{}, map[string]string{}
	for kind, t := range scheme.Scheme.AllKnownTypes() {
		_, object := t.FieldByName("ObjectMeta")
		if kind.Version == "__internal" || !object || !served(kind.Version) {
			continue
		}
		kinds[kind.GroupVersion().String()+" "+kind.Kind] = visit(t, structs)
	}
	dropIdle(structs)
	roots := []string{}
	for kind := range kinds {
		roots = append(roots, kind)
	}
	sort.Strings(roots)
	numbers, order := map[string]int{}, []string{}
	var number func(string)
	number = func(name string) {
		if _, done := numbers[name]; done {
			return
		}
		numbers[name] = len(order)
		order = append(order, name)
		for _, field := range structs[name].fields {
			if inner := inside(field); inner != "" {
				number(inner)
			}
		}
	}
	for _, root := range roots {
		if structs[kinds[root]] != nil {
			number(kinds[root])
			fmt.Printf("%s %d\n", root, numbers[kinds[root]])
		}
	}
	for _, name := range order {
		words := []string{}
		for _, field := range structs[name].fields {
			if inner := inside(field); inner != "" {
				field = strings.TrimSuffix(field, inner) + fmt.Sprint(numbers[inner])
			}
			words = append(words, field)
		}
		fmt.Printf("%d %s\n", numbers[name], strings.Join(words, " "))
	}
}

// The struct that a field holds.
func inside(field string) string {
	_, code, _ := strings.Cut(field, "=")
	return strings.TrimLeft(code[1:], "!")
}

// Takes out fields that stay as they are, and structs that have no others.
func dropIdle(structs map[string]*row) {
	for changed := true; changed; {
		changed = false
		for name, r := range structs {
			kept := []string{}
			for _, field := range r.fields {
				key, code, _ := strings.Cut(field, "=")
				inner := inside(field)
				if inner != "" && structs[inner] == nil {
					code = strings.TrimSuffix(code, inner)
					inner = ""
				}
				if strings.ContainsRune("*?ot", rune(code[0])) && inner == "" && code != "*!" {
					continue
				}
				kept = append(kept, key+"="+code)
			}
			if len(kept) != len(r.fields) || strings.Join(kept, " ") != strings.Join(r.fields, " ") {
				r.fields, changed = kept, true
			}
			if len(kept) == 0 {
				delete(structs, name)
				changed = true
			}
		}
	}
}

func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return strings.Join(parts[max(0, len(parts)-2):], ".") + "." + t.Name()
}

func visit(t reflect.Type, structs map[string]*row) string {
	key := name(t)
	if _, done := structs[key]; done {
		return key
	}
	r := &row{}
	structs[key] = r
	fields(t, r, structs)
	sort.Strings(r.fields)
	return key
}

func fields(t reflect.Type, r *row, structs map[string]*row) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("json"), ",")
		options := strings.Join(tag[1:], ",")
		if tag[0] == "" && f.Anonymous {
			if f.Type.Kind() == reflect.Struct && f.Type.Name() != "TypeMeta" {
				fields(f.Type, r, structs)
			}
			continue
		}
		// What the server alone writes is never sent.
		if tag[0] == "" || tag[0] == "-" || tag[0] == "managedFields" {
			continue
		}
		// Of a status only the empty struct is ever sent, and that inside of other objects.
		if _, object := t.FieldByName("ObjectMeta"); object && tag[0] == "status" {
			if f.Type.Kind() == reflect.Struct {
				r.fields = append(r.fields, "status=S")
			}
			continue
		}
		if code := code(f.Type, strings.Contains(options, "omitempty"), strings.Contains(options, "omitzero"), structs); code != "" {
			r.fields = append(r.fields, tag[0]+"="+code)
		}
	}
}

// What becomes of a field: what is dropped when empty, what is written when absent, and what is inside.
func code(t reflect.Type, omitEmpty, omitZero bool, structs map[string]*row) string {
	keep := "!"
	if omitEmpty || omitZero {
		keep = ""
	}
	switch {
	case t == quantity:
		if omitZero {
			return ""
		}
		return "q"
	case t == intOrText:
		if omitZero {
			return ""
		}
		return "i"
	case times[t]:
		if omitZero {
			return ""
		}
		return "t"
	}
	switch t.Kind() {
	case reflect.Pointer:
		e := t.Elem()
		if e.Kind() == reflect.Struct && !e.Implements(marshaler) && !t.Implements(marshaler) {
			return "*" + keep + visit(e, structs)
		}
		return "*" + keep
	case reflect.Bool:
		return "b" + keep
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		return "n" + keep
	case reflect.String:
		return "s" + keep
	case reflect.Slice:
		e := t.Elem()
		if e.Kind() == reflect.Pointer {
			e = e.Elem()
		}
		if e.Kind() == reflect.Struct && !e.Implements(marshaler) && !reflect.PointerTo(e).Implements(marshaler) {
			return "l" + keep + visit(e, structs)
		}
		return "l" + keep
	case reflect.Map:
		e := t.Elem()
		if e.Kind() == reflect.Struct && !e.Implements(marshaler) && !reflect.PointerTo(e).Implements(marshaler) {
			return "m" + keep + visit(e, structs)
		}
		return "m" + keep
	case reflect.Struct:
		if t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler) {
			return "?" + keep
		}
		if omitZero {
			return "o" + visit(t, structs)
		}
		return "S" + visit(t, structs)
	}
	return "?" + keep
}
