package role

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// Logging is how a process logs: to standard error, one line an event.
type Logging struct {
	LogFormat string `help:"Form of the log on standard error." enum:"text,json" default:"text"`
	LogLevel  string `help:"Least level that is logged." enum:"debug,info,warn,error" default:"info"`
}

// Logger returns the logger l asks for.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// NATS says where the log is and who we are there.
type NATS struct {
	NATSURL   string `name:"nats-url" help:"NATS servers, separated by commas." default:"nats://127.0.0.1:4222"`
	NATSCreds string `name:"nats-creds" help:"Credentials file for NATS." type:"path"`
	NATSNkey  string `name:"nats-nkey" help:"nkey seed file for NATS." type:"path"`
}

// Instance names this process: host, role and process id. It is unique among
// what runs at one time.
func Instance(role string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s-%s-%d-%d", role, host, os.Getpid(), time.Now().UnixMilli())
}
