package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
)

func main() {
	ctx := context.Background()
	f, _ := os.Create(os.Args[1])
	r, err := registry.Open(ctx, os.Args[3], registry.Options{})
	if err != nil {
		panic(err)
	}
	pprof.StartCPUProfile(f)
	t := time.Now()
	switch os.Args[2] {
	case "install":
		p, err := r.Load(ctx, registry.Ref{Name: os.Args[4]})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Install(ctx, p, os.Args[5], registry.InstallOptions{}))
	case "push":
		d, err := folder.Open(ctx, os.Args[5])
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Push(ctx, os.Args[4], registry.Revision{Files: d.Files(), Message: t.String()}, registry.PushOptions{}))
	}
	pprof.StopCPUProfile()
	f.Close()
	fmt.Println(time.Since(t))
}
