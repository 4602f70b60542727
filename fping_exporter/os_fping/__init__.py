"""os-fping, the API that Nova offered until microversion 2.35: authentication, limits, pings, HTTP views."""
