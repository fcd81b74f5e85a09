package report

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Here returns the machine that the program runs on. A field stays empty if the system does
// not report it.
func Here() Machine {
	m := Machine{CPU: line("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if m.CPU == "" {
		m.CPU = "unknown CPU"
	}
	kB, _ := strconv.Atoi(strings.TrimSuffix(line("/proc/meminfo", "MemTotal"), " kB"))
	m.MemoryMB = kB / 1024
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += " " + strings.TrimSpace(string(release))
	}
	return m
}

// line returns the text after "key :" in a file.
func line(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Versions returns the versions of the named modules that were built into the program.
func Versions(names []string) map[string]string {
	all := make(map[string]string)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return all
	}
	for _, name := range names {
		for _, m := range info.Deps {
			if m.Path == name {
				all[name] = m.Version
			}
		}
	}
	return all
}
