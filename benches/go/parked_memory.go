// Goroutines parked on a channel, and what the process takes for each.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

func kilobytes(name string) float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		var size float64
		if n, _ := fmt.Sscanf(line, name+" %f kB", &size); n == 1 {
			return size
		}
	}
	return 0
}

func main() {
	flags := flag.NewFlagSet("parked_memory", flag.ExitOnError)
	flags.Int("workers", 1, "set by GOMAXPROCS")
	count := flags.Int("coroutines", 1000000, "goroutines")
	flags.Bool("quick", false, "makes no difference")
	flags.Parse(os.Args[3:])

	resident, tables := kilobytes("VmRSS:"), kilobytes("VmPTE:")
	started := make(chan bool, 1000)
	never := make(chan bool)
	for i := 0; i < *count; i++ {
		go func() {
			started <- true
			<-never
		}()
	}
	for i := 0; i < *count; i++ {
		<-started
	}
	runtime.Gosched()
	each := func(now, before float64) float64 { return (now - before) * 1024 / float64(*count) }
	fmt.Printf("{\"main\":%f,\"extra\":[[\"vm_pte\",%f]]}\n",
		each(kilobytes("VmRSS:"), resident), each(kilobytes("VmPTE:"), tables))
}
