package page

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
		lanes, carol := NewLanes(), false
		lanes.Run(ctx, "bob", func() { <-ctx.Done() })
		lanes.Run(ctx, "carol", func() { carol = true })
		synctest.Wait()
		if !carol {
			t.Error("carol waits for bob")
		}
		cancel()
		lanes.Wait()
		if len(lanes.last) > 0 || len(lanes.places) > 0 {
			t.Error("something is left of pushes that have ended")
		}
	})
}

func TestPushesToOneRecipientComeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lanes := NewLanes()
		var order []int
		for i := range atOnce {
			lanes.Run(t.Context(), "bob", func() {
				time.Sleep(time.Duration(atOnce-i) * time.Second)
				order = append(order, i)
			})
		}
		lanes.Wait()
		if len(order) != atOnce || !slices.IsSorted(order) {
			t.Errorf("order is %v", order)
		}
	})
}

func TestSenderWaitsForAPlaceNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lanes := NewLanes()
		for range atOnce {
			if !lanes.Run(ctx, "bob", func() { <-ctx.Done() }) {
				t.Fatal("no place for the first ones")
			}
		}
		began := time.Now()
		soon, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if lanes.Run(soon, "carol", func() {}) || time.Since(began) != time.Second {
			t.Errorf("one more than %d: waited %v", atOnce, time.Since(began))
		}
		cancel()
		lanes.Wait()
	})
}
