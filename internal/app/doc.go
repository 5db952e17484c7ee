// Package app builds the program's graph of objects from a configuration, runs it and stops it. It is the
// only package that sees all the others.
package app
