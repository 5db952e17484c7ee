// Package status answers over HTTP how the program is, for people and for machines.
//
// It stands beside the inbounds: what it shows is a [report.Report], what it can change goes through
// [Control], and both are the application's. Handler has these calls:
//
//	GET  /                                     the page
//	GET  /healthz                              the program runs
//	GET  /readyz                               200 when an upstream can be used, else 503
//	GET  /api/v1/status                        the report
//	POST /api/v1/upstreams/NAME/ACTION         select, drain, enable or probe
//	POST /api/v1/reload                        read the configuration again
//	GET  /metrics                              when there are any
//
// Who may do what:
//
//	                 this machine       other hosts
//	health           everybody          everybody
//	see              everybody          with the token
//	change           with the token     with the token
//
// A web page that the user happens to look at is neither: it can make a browser on this machine send
// requests. All but health therefore refuses requests whose Host is a name that is not known to mean this
// machine, since any page can point a name of its own here (DNS rebinding), and requests that another origin
// has sent. No answer allows other origins to read it.
package status
