package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is measured when nothing else is said: the scenarios of the targets,
// with the peers that they name and those next to them.
const (
	defaultScenarios = "a,a128,b,b128,bp,bp128,c128,d,dp,db,e,i,ic,h,hb,f,g,gr,gu,gd,gb"
	defaultPeers     = "direct,postern,gorelay,nginx-buf,hitch,haproxy,stunnel-out"
	quickScenarios   = "a,c128,d,e,i,h,f"
)

// options is the command line.
type options struct {
	peers, scenarios string
	rounds, workers  int
	scale            float64
	baseline         string
	subject          string
	bin, peerDir     string
	outFile, table   string
	work             string
	keep, probe      bool
	port             int
	idle             []int
	stages           []string
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.StringVar(&o.peers, "peers", defaultPeers, "comma separated peers, in order, or 'all': direct and every file in -peerdir")
	fs.StringVar(&o.scenarios, "scenarios", defaultScenarios, "comma separated scenarios, or 'list'")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds")
	fs.IntVar(&o.workers, "workers", 2, "worker processes or threads of each peer")
	fs.Float64Var(&o.scale, "scale", 0.6, "multiply the sessions of each run")
	fs.StringVar(&o.baseline, "baseline", "nginx-buf", "peer that the ratios of the scenario tables are against")
	fs.StringVar(&o.subject, "subject", "postern", "peer that the targets are for")
	fs.StringVar(&o.bin, "bin", "bin", "folder with the bench's programs and postern")
	fs.StringVar(&o.peerDir, "peerdir", "peers", "folder with the peer files")
	fs.StringVar(&o.outFile, "o", "", "append every run as a JSON line to this file")
	fs.StringVar(&o.table, "table", "", "measure nothing: print the table of targets from a file that -o wrote")
	fs.IntVar(&o.port, "port", 23000, "first port used")
	fs.StringVar(&o.work, "work", "", "work folder (default: a new temporary one, removed at the end)")
	fs.BoolVar(&o.keep, "keep", false, "keep the work folder")
	fs.BoolVar(&o.probe, "probe", false, "look at the peers' behaviour (injection, downgrade) instead of measuring")
	idle := fs.String("idle", "9500", "session counts of the memory scenario")
	stages := fs.String("stages", "ehlo,message4k,message1m", "where sessions of the memory scenario stop: ehlo, rcpt, message4k, message1m")
	quick := fs.Bool("quick", false, "a first impression in about a minute: fewer scenarios, rounds and sessions")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		o.quicken(fs, idle, stages)
	}
	if fs.NArg() > 0 || o.rounds < 1 || o.scale <= 0 {
		return nil, fmt.Errorf("wrong arguments: see run -h")
	}
	o.stages = strings.Split(*stages, ",")
	for _, s := range o.stages {
		if !slices.Contains([]string{"ehlo", "rcpt", "message4k", "message1m"}, s) {
			return nil, fmt.Errorf("no stage %q", s)
		}
	}
	for _, f := range strings.Split(*idle, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-idle: %q is no number of sessions", f)
		}
		o.idle = append(o.idle, n)
	}
	return o, nil
}

// quicken changes what the command line does not set itself.
func (o *options) quicken(fs *flag.FlagSet, idle, stages *string) {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["scenarios"] {
		o.scenarios = quickScenarios
	}
	if !set["rounds"] {
		o.rounds = 2
	}
	if !set["scale"] {
		o.scale = 0.2
	}
	if !set["idle"] {
		*idle = "1000"
	}
	if !set["stages"] {
		*stages = "ehlo,message4k"
	}
}

// peerNames is the peers asked for.
func (o *options) peerNames() []string {
	if o.peers != "all" {
		return strings.Split(o.peers, ",")
	}
	names := []string{direct}
	files, _ := filepath.Glob(filepath.Join(o.peerDir, "*.peer")) // the pattern is well formed
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".peer"))
	}
	return names
}
