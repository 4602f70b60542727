"""os-fping, the API that Nova had until 2.35: callers, rate limits, pings on demand, and the HTTP views."""
