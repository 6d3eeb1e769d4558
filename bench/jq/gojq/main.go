// SPDX-License-Identifier: Apache-2.0
//
// The same for gojq.
//
//	gojq PROGRAM ROUNDS < DOCUMENT
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/itchyny/gojq"
)

func cpuNs() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func run(code *gojq.Code, document []byte, print func([]byte)) error {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	for results := code.Run(value); ; {
		result, more := results.Next()
		if !more {
			return nil
		}
		if err, failed := result.(error); failed {
			return err
		}
		text, err := gojq.Marshal(result)
		if err != nil {
			return err
		}
		print(text)
	}
}

func main() {
	document, _ := io.ReadAll(os.Stdin)
	rounds, _ := strconv.Atoi(os.Args[2])
	query, err := gojq.Parse(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if rounds == 0 {
		if err := run(code, document, func(text []byte) { fmt.Println(string(text)) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	start := cpuNs()
	for i := 0; i < rounds; i++ {
		if err := run(code, document, func([]byte) {}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println((cpuNs() - start) / int64(rounds))
}
