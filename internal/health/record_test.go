package health_test

import (
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

var policy = health.Policy{
	FailThreshold: 2, SuccessThreshold: 1, Cooldown: 20 * time.Second, MaxInterval: 30 * time.Second,
}
