package store

// ClaimSQL and HotSession let a test look at the plan of the claim as the pools make it.
const ClaimSQL = claimSQL

// HotSession are the settings of the pools that carry the product.
var HotSession = hotSession

// EntrySelect and ScanEntries read the history as the store does.
const EntrySelect = entrySelect

var ScanEntries = scanEntries
