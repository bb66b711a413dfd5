package ofb

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// Brasilia is the clock that dates without a time of day are read on (status-apis §1.8): UTC−3. Its offset has been fixed
// since daylight saving time ended in 2019, so no time zone database is needed. It is never assigned to.
var Brasilia = time.FixedZone("-03", -3*60*60)

const (
	// dateTime is how instants are written: UTC, whole seconds, 20 characters (status-apis §1.8).
	dateTime = "2006-01-02T15:04:05Z"
	// looseDateTime reads them: the APIs' patterns permit a month and a day of one digit (status-apis §1.9 DATETIME).
	looseDateTime = "2006-1-2T15:04:05Z"
	looseDate     = "2006-1-2"
)

// approvalDays is the longest a recurring consent waits for its last approver (status-apis §4.1.1).
const approvalDays = 30

// instant reads a member that holds an instant.
func instant(data map[string]any, name string) (time.Time, bool) {
	text, _ := data[name].(string)
	t, err := time.Parse(looseDateTime, text)
	return t.Truncate(time.Second), err == nil
}

// day reads a date: midnight of that day in Brasília.
func day(value any) (time.Time, bool) {
	text, _ := value.(string)
	t, err := time.ParseInLocation(looseDate, text, Brasilia)
	return t, err == nil
}

// lastSecond is the end of "until 23:59" of the day in Brasília that t falls on. The rules name the minute; we let it
// pass to its last second, which still belongs to the day, so that the change it brings about is dated on it.
func lastSecond(t time.Time) time.Time {
	year, month, d := t.In(Brasilia).Date()
	return time.Date(year, month, d, 23, 59, 59, 0, Brasilia).UTC()
}

// after is the deadline a fixed time after the instant a member holds.
func after(name string, d time.Duration) func(map[string]any) (time.Time, bool) {
	return func(data map[string]any) (time.Time, bool) {
		t, ok := instant(data, name)
		return t.Add(d), ok
	}
}

// paymentApproval is when a payment consent stops waiting for its last approver (status-apis §3.1.1): 23:59 of the day
// it was requested on for an immediate payment, of the day before the first settlement for a scheduled one. An earlier
// hour of the holder's own is the core's to apply.
func paymentApproval(data map[string]any) (time.Time, bool) {
	payment, ok := data["payment"].(map[string]any)
	if !ok {
		return time.Time{}, false
	}
	if scheduled, ok := payment["schedule"].(map[string]any); ok {
		first, ok := firstSettlement(scheduled)
		return lastSecond(first.AddDate(0, 0, -1)), ok
	}
	requested, ok := instant(data, "creationDateTime")
	return lastSecond(requested), ok
}

// recurringApproval is when a recurring consent stops waiting for its last approver: the earliest of its own end, the
// 30 days from creation, and 23:59 of the due date that the holder set (status-apis §4.1.1).
func recurringApproval(data map[string]any) (time.Time, bool) {
	var limits []time.Time
	if created, ok := instant(data, "creationDateTime"); ok {
		limits = append(limits, created.AddDate(0, 0, approvalDays))
	}
	if expires, ok := instant(data, "expirationDateTime"); ok {
		limits = append(limits, expires)
	}
	if due, ok := day(data["approvalDueDate"]); ok {
		limits = append(limits, lastSecond(due))
	}
	if len(limits) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(limits, time.Time.Compare), true
}

// weekdays are the values of a weekly schedule's dayOfWeek (status-apis §3.1).
var weekdays = map[string]time.Weekday{
	"DOMINGO": time.Sunday, "SEGUNDA_FEIRA": time.Monday, "TERCA_FEIRA": time.Tuesday, "QUARTA_FEIRA": time.Wednesday,
	"QUINTA_FEIRA": time.Thursday, "SEXTA_FEIRA": time.Friday, "SABADO": time.Saturday,
}

// firstSettlement is the first day a schedule pays on (status-apis §3.1, the five alternatives of schedule).
func firstSettlement(schedule map[string]any) (time.Time, bool) {
	if single, ok := schedule["single"].(map[string]any); ok {
		return day(single["date"])
	}
	if daily, ok := schedule["daily"].(map[string]any); ok {
		return day(daily["startDate"])
	}
	if weekly, ok := schedule["weekly"].(map[string]any); ok {
		start, ok := day(weekly["startDate"])
		name, _ := weekly["dayOfWeek"].(string)
		weekday, known := weekdays[name]
		return start.AddDate(0, 0, int(weekday-start.Weekday()+7)%7), ok && known
	}
	if monthly, ok := schedule["monthly"].(map[string]any); ok {
		start, ok := day(monthly["startDate"])
		number, _ := monthly["dayOfMonth"].(json.Number)
		dayOfMonth, err := strconv.Atoi(string(Canonical(number)))
		if !ok || err != nil || dayOfMonth < 1 || dayOfMonth > 31 {
			return time.Time{}, false
		}
		return firstMonthly(start, dayOfMonth), true
	}
	if custom, ok := schedule["custom"].(map[string]any); ok {
		return earliestDay(custom["dates"])
	}
	return time.Time{}, false
}

// firstMonthly is the first payment day of a monthly schedule: the first such day of a month not before the start. In
// a month too short for it, the payment falls on the day after the month's end (payments 5.0.0, recurring payments).
func firstMonthly(start time.Time, dayOfMonth int) time.Time {
	for month := 0; ; month++ {
		end := time.Date(start.Year(), start.Month()+time.Month(month)+1, 0, 0, 0, 0, 0, Brasilia)
		pays := end.AddDate(0, 0, 1)
		if dayOfMonth <= end.Day() {
			pays = end.AddDate(0, 0, dayOfMonth-end.Day())
		}
		if !pays.Before(start) {
			return pays
		}
	}
}

// earliestDay is the earliest of a list of dates, in any order. All must be readable.
func earliestDay(list any) (time.Time, bool) {
	dates, _ := list.([]any)
	var earliest time.Time
	for i, value := range dates {
		date, ok := day(value)
		if !ok {
			return time.Time{}, false
		}
		if i == 0 || date.Before(earliest) {
			earliest = date
		}
	}
	return earliest, len(dates) > 0
}
