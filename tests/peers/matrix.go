// Calls as Go's own client sends them, all at once. Reads a list of {url, token, prefer} from standard input; writes for
// each whether a caller that looks at the error and at the status takes the answer for success, and what it then knows.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
)

type cell struct{ Url, Token, Prefer string }

type outcome struct {
	Good bool   `json:"good"`
	Text string `json:"text"`
}

func call(cell cell) outcome {
	request, err := http.NewRequest("POST", cell.Url, strings.NewReader(`{"model":"any"}`))
	if err != nil {
		return outcome{false, err.Error()}
	}
	request.Header.Set("Authorization", "Bearer "+cell.Token)
	request.Header.Set("Content-Type", "application/json")
	if cell.Prefer != "" {
		request.Header.Set("Prefer", cell.Prefer)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return outcome{false, err.Error()}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return outcome{false, err.Error()}
	}
	return outcome{answer.StatusCode < 300, string(body)}
}

func main() {
	var cells []cell
	if err := json.NewDecoder(os.Stdin).Decode(&cells); err != nil {
		log.Fatal(err)
	}
	outcomes := make([]outcome, len(cells))
	var all sync.WaitGroup
	for i := range cells {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			outcomes[i] = call(cells[i])
		}(i)
	}
	all.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		log.Fatal(err)
	}
}
