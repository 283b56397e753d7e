// A tree of a million goroutines: each node starts ten children and adds up what they send.
package main

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"time"
)

func node(parent chan int, number, leaves int) {
	if leaves == 1 {
		parent <- number
		return
	}
	sums := make(chan int)
	for i := 0; i < 10; i++ {
		go node(sums, number+i*(leaves/10), leaves/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-sums
	}
	parent <- sum
}

func once(leaves int) float64 {
	start := time.Now()
	root := make(chan int)
	go node(root, 0, leaves)
	if sum := <-root; sum != leaves*(leaves-1)/2 {
		fmt.Printf("{\"error\":\"the sum is wrong: %d\"}\n", sum)
		os.Exit(1)
	}
	return time.Since(start).Seconds() * 1000
}

func main() {
	bench := os.Args[1]
	flags := flag.NewFlagSet("skynet", flag.ExitOnError)
	flags.Int("workers", 1, "set by GOMAXPROCS")
	leaves := flags.Int("coroutines", 1000000, "leaves")
	quick := flags.Bool("quick", false, "one repeat")
	flags.Parse(os.Args[3:])

	ms := once(*leaves)
	if bench == "skynet" {
		repeats := 5
		if *quick {
			repeats = 1
		}
		times := make([]float64, repeats)
		for i := range times {
			times[i] = once(*leaves)
		}
		sort.Float64s(times)
		ms = times[repeats/2]
	}
	fmt.Printf("{\"main\":%f}\n", ms)
}
