// Command flux-choices answers one question a line, as Flux's libraries do: which versions a range holds, which paths are left out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/version"
)

// lineBytesMax is the longest line of input.
const lineBytesMax = 1 << 20

type question struct {
	Range  string   `json:"range"`
	Tags   []string `json:"tags"`
	Ignore *string  `json:"ignore"`
	Domain []string `json:"domain"`
	Paths  []path   `json:"paths"`
}

type path struct {
	Path  string `json:"path"`
	IsDir bool   `json:"isDir"`
}

type answer struct {
	Valid bool `json:"valid"`
	// Versions has the normal form of each tag, empty where it is no version.
	Versions []string `json:"versions"`
	// Loose is the same for a parser that lets the last numbers be left out.
	Loose []string `json:"loose"`
	// Matches says which tags are in the range.
	Matches []bool `json:"matches"`
	// Orders compares each tag with the next one.
	Orders   []int  `json:"orders"`
	Excluded []bool `json:"excluded"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytesMax)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fail(err)
		}
		reply := versions(asked)
		if asked.Ignore != nil {
			reply = ignored(asked)
		}
		if err := encoder.Encode(reply); err != nil {
			fail(err)
		}
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
	if err := out.Flush(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func versions(asked question) answer {
	var reply answer
	constraint, err := semver.NewConstraint(asked.Range)
	reply.Valid = err == nil
	var parsed []*semver.Version
	for _, tag := range asked.Tags {
		found, err := version.ParseVersion(tag)
		if err != nil {
			reply.Versions = append(reply.Versions, "")
		} else {
			reply.Versions = append(reply.Versions, found.String())
		}
		loose, err := semver.NewVersion(tag)
		if err != nil {
			reply.Loose = append(reply.Loose, "")
		} else {
			reply.Loose = append(reply.Loose, loose.String())
		}
		parsed = append(parsed, found)
		reply.Matches = append(reply.Matches, reply.Valid && found != nil && constraint.Check(found))
	}
	for i := 1; i < len(parsed); i++ {
		order := 0
		if parsed[i-1] != nil && parsed[i] != nil {
			order = parsed[i-1].Compare(parsed[i])
		}
		reply.Orders = append(reply.Orders, order)
	}
	return reply
}

func ignored(asked question) answer {
	reply := answer{Valid: true}
	patterns := sourceignore.ReadPatterns(strings.NewReader(*asked.Ignore), asked.Domain)
	matcher := sourceignore.NewMatcher(patterns)
	for _, entry := range asked.Paths {
		reply.Excluded = append(reply.Excluded, matcher.Match(strings.Split(entry.Path, "/"), entry.IsDir))
	}
	return reply
}
