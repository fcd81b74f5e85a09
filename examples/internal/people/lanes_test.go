package people

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlowRecipientKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lanes, carol := newLanes(), false
		lanes.run(ctx, "bob", func() { <-ctx.Done() })
		lanes.run(ctx, "carol", func() { carol = true })
		synctest.Wait()
		if !carol {
			t.Error("carol waits for bob")
		}
		cancel()
		lanes.wait()
		if len(lanes.last) > 0 || len(lanes.places) > 0 {
			t.Error("something is left of pushes that have ended")
		}
	})
}

func TestPushesToOneRecipientComeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lanes := newLanes()
		var order []int
		for i := range atOnce {
			lanes.run(t.Context(), "bob", func() {
				time.Sleep(time.Duration(atOnce-i) * time.Second)
				order = append(order, i)
			})
		}
		lanes.wait()
		if len(order) != atOnce || !slices.IsSorted(order) {
			t.Errorf("order is %v", order)
		}
	})
}

func TestSenderWaitsForAPlaceNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lanes := newLanes()
		for range atOnce {
			if !lanes.run(ctx, "bob", func() { <-ctx.Done() }) {
				t.Fatal("no place for the first ones")
			}
		}
		began := time.Now()
		soon, stop := context.WithTimeout(ctx, patience)
		defer stop()
		if lanes.run(soon, "carol", func() {}) || time.Since(began) != patience {
			t.Errorf("one more than %d: waited %v", atOnce, time.Since(began))
		}
		cancel()
		lanes.wait()
	})
}
