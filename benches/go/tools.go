// Channels and select: what a round trip, a message, a choice among eight costs.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func roundTrip(trips int) time.Duration {
	ping, pong := make(chan int, 1), make(chan int, 1)
	go func() {
		for number := range ping {
			pong <- number
		}
	}()
	start := time.Now()
	for number := 0; number < trips; number++ {
		ping <- number
		<-pong
	}
	elapsed := time.Since(start)
	close(ping)
	return elapsed
}

func throughput(messages int) time.Duration {
	channel := make(chan int, 256)
	go func() {
		for number := 0; number < messages; number++ {
			channel <- number
		}
		close(channel)
	}()
	start := time.Now()
	for range channel {
	}
	return time.Since(start)
}

func selectOne(rounds int) time.Duration {
	var c [8]chan int
	for i := range c {
		c[i] = make(chan int, 1)
		c[i] <- 0
	}
	start := time.Now()
	for round := 0; round < rounds; round++ {
		select {
		case message := <-c[0]:
			c[0] <- message + 1
		case message := <-c[1]:
			c[1] <- message + 1
		case message := <-c[2]:
			c[2] <- message + 1
		case message := <-c[3]:
			c[3] <- message + 1
		case message := <-c[4]:
			c[4] <- message + 1
		case message := <-c[5]:
			c[5] <- message + 1
		case message := <-c[6]:
			c[6] <- message + 1
		case message := <-c[7]:
			c[7] <- message + 1
		}
	}
	return time.Since(start)
}

func main() {
	flags := flag.NewFlagSet("tools", flag.ExitOnError)
	flags.Int("workers", 1, "set by GOMAXPROCS")
	quick := flags.Bool("quick", false, "measure for a shorter time")
	flags.Parse(os.Args[3:])

	benches := map[string]func(int) time.Duration{
		"channel_round_trip": roundTrip,
		"channel_throughput": throughput,
		"select":             selectOne,
	}
	run, window := benches[os.Args[1]], 200*time.Millisecond
	if *quick {
		window = 30 * time.Millisecond
	}
	for operations := 1000; ; {
		elapsed := run(operations)
		if elapsed >= window {
			fmt.Printf("{\"main\":%f,\"extra\":[]}\n", float64(elapsed.Nanoseconds())/float64(operations))
			return
		}
		missing := window.Seconds() / max(elapsed.Seconds(), 1e-9)
		operations = int(float64(operations) * min(max(missing*1.2, 2), 20))
	}
}
