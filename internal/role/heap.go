package role

import "sync"

// heapFloor is how much garbage may gather, in bytes, before it is looked for.
const heapFloor = 64 << 20

// ballast is never touched, so it takes addresses and no memory.
var ballast = sync.OnceValue(func() []byte { return make([]byte, heapFloor) })

// GiveRoom lets the collector wait until some garbage has gathered. By itself
// it runs whenever the heap has doubled, which for a role that holds little,
// and makes a few kilobytes a request, is many times a second and an eighth of
// its time. What a process takes grows by at most heapFloor.
func GiveRoom() { ballast() }
