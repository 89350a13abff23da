// Go's default client; then with chunks, with an expectation, and with a compressed body.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for kind := 0; kind < 4; kind++ {
		file, err := os.Open(os.Args[2])
		if err != nil {
			panic(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var body io.Reader = bytes.NewReader(lines.Bytes())
			if kind == 1 {
				body = io.NopCloser(body) // of unknown length: chunked
			}
			if kind == 3 {
				var packed bytes.Buffer
				writer := gzip.NewWriter(&packed)
				writer.Write(lines.Bytes())
				writer.Close()
				body = &packed
			}
			request, err := http.NewRequest("POST", os.Args[1], body)
			if err != nil {
				panic(err)
			}
			request.Header.Set("Content-Type", "application/json")
			if kind == 2 {
				request.Header.Set("Expect", "100-continue")
			}
			if kind == 3 {
				request.Header.Set("Content-Encoding", "gzip")
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				panic(err)
			}
			answer, _ := io.ReadAll(response.Body)
			response.Body.Close()
			fmt.Println(response.StatusCode, string(answer))
		}
		file.Close()
	}
}
