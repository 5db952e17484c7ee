package status

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

const jsonType = "application/json"

// problem is an answer that says what is wrong with a request and what to do about it.
type problem struct {
	status  int
	Message string `json:"error"`
	Fix     string `json:"fix,omitempty"`
}

var (
	wrongMethod = &problem{
		http.StatusMethodNotAllowed, "wrong method",
		"GET shows, POST changes; the header Allow says which it is here",
	}
	wrongBody = &problem{
		http.StatusUnsupportedMediaType, "the body is not JSON",
		"send none, or Content-Type: application/json",
	}
	noPage = &problem{
		http.StatusNotFound, "there is nothing here", "the page is at /, the report at /api/v1/status",
	}
	noAction = &problem{
		http.StatusNotFound, "no such action", "there are select, drain, enable and probe",
	}
	foreignHost = &problem{
		http.StatusForbidden, "this name is not known to mean this machine",
		"use its IP address or localhost, or add the name to status.hosts",
	}
	foreignOrigin = &problem{
		http.StatusForbidden, "the request comes from another web site",
		"use the page that this address serves, or a program",
	}
	readOnly = &problem{
		http.StatusForbidden, "nothing can be changed: there is no token", "set status.token",
	}
	closed = &problem{
		http.StatusForbidden, "other hosts see nothing: there is no token", "set status.token",
	}
	noToken = &problem{
		http.StatusUnauthorized, "a token is needed",
		"send the header Authorization: Bearer TOKEN with the value of status.token",
	}
	wrongToken = &problem{
		http.StatusUnauthorized, "the token is wrong", "the right one is the value of status.token",
	}
)

func broken(err error) *problem {
	return &problem{http.StatusInternalServerError, err.Error(), "see the log"}
}

func notReloaded(err error) *problem {
	return &problem{
		http.StatusUnprocessableEntity, err.Error(),
		"correct the file; until then the configuration in force stays",
	}
}

// problemOf translates what a Control says.
func problemOf(err error) *problem {
	switch {
	case errors.Is(err, ErrUnknown):
		return &problem{http.StatusNotFound, err.Error(), "the names are those of /api/v1/status"}
	case errors.Is(err, ErrConflict):
		return &problem{http.StatusConflict, err.Error(), ""}
	}
	return broken(err)
}

func (p *problem) write(w http.ResponseWriter) {
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	body, err := json.Marshal(p)
	if err != nil { // two strings: it cannot happen
		body = []byte(strconv.Quote(p.Message))
	}
	write(w, p.status, jsonType, string(body)+"\n")
}

func writeText(w http.ResponseWriter, status int, text string) {
	write(w, status, "text/plain; charset=utf-8", text)
}

func write(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // who is gone needs no answer
}

func notFound(w http.ResponseWriter, _ *http.Request) { noPage.write(w) }
