package qr

import "image"

// A mask turns data modules over so that they look like noise (ISO/IEC 18004:2015, 7.8.2), y being the row.
var masks = [8]func(x, y int) bool{
	func(x, y int) bool { return (x+y)%2 == 0 },
	func(_, y int) bool { return y%2 == 0 },
	func(x, _ int) bool { return x%3 == 0 },
	func(x, y int) bool { return (x+y)%3 == 0 },
	func(x, y int) bool { return (y/2+x/3)%2 == 0 },
	func(x, y int) bool { return x*y%2+x*y%3 == 0 },
	func(x, y int) bool { return (x*y%2+x*y%3)%2 == 0 },
	func(x, y int) bool { return ((x+y)%2+x*y%3)%2 == 0 },
}

// formatBits are the 15 bits that name level and mask (ISO/IEC 18004:2015, 7.9.1).
func formatBits(level Level, mask int) uint {
	data := map[Level]uint{LevelL: 1, LevelM: 0, LevelQ: 3, LevelH: 2}[level]<<3 | uint(mask)
	rest := data
	for range 10 {
		rest = rest<<1 ^ rest>>9*0x537
	}
	return (data<<10 | rest) ^ 0x5412
}

// formatModules are where bit i stands, twice (ISO/IEC 18004:2015, figure 25).
func formatModules(n, i int) [2][2]int {
	var first, second [2]int
	switch {
	case i < 6:
		first = [2]int{8, i}
	case i < 8:
		first = [2]int{8, i + 1}
	case i == 8:
		first = [2]int{7, 8}
	default:
		first = [2]int{14 - i, 8}
	}
	if i < 8 {
		second = [2]int{n - 1 - i, 8}
	} else {
		second = [2]int{8, n - 15 + i}
	}
	return [2][2]int{first, second}
}

// maskOf reads the mask from a symbol's format, -1 if it is not one of level.
func maskOf(modules [][]bool, level Level) int {
	var bits uint
	for i := range 15 {
		at := formatModules(len(modules), i)[0]
		if modules[at[1]][at[0]] {
			bits |= 1 << i
		}
	}
	for m := range masks {
		if formatBits(level, m) == bits {
			return m
		}
	}
	return -1
}

// remask changes the mask of modules.
func remask(l *layout, modules [][]bool, from, to int) {
	for y, row := range modules {
		for x := range row {
			if !l.function[y*l.n+x] && masks[from](x, y) != masks[to](x, y) {
				row[x] = !row[x]
			}
		}
	}
	bits := formatBits(l.level, to)
	for i := range 15 {
		for _, at := range formatModules(l.n, i) {
			modules[at[1]][at[0]] = bits>>i&1 == 1
		}
	}
}

// unmistakable changes the mask where the standard's choice has made something that readers take for a finder, if
// another mask makes nothing like it, else to the one that makes least. The standard's penalties look for exact runs, readers for
// runs within a tolerance: of symbols in version 3 one in three has something like a finder, and one in a hundred and fifty was not
// read by a reader that looks for finders as ZXing does, at any size and in any light.
//
// What lies over the symbol counts as it looks: plate and logo are light, a badge is dark, and where it has letters both.
func (s *Symbol) unmistakable() {
	l := layoutOf(s.version, s.level)
	own := maskOf(s.modules, s.level)
	least := s.mistakable()
	if own < 0 || least == 0 {
		return
	}
	best, at := own, own
	for to := range masks {
		if to == own {
			continue
		}
		remask(l, s.modules, at, to)
		at = to
		if n := s.mistakable(); n < least {
			best, least = to, n
		}
		if least == 0 {
			return
		}
	}
	remask(l, s.modules, at, best)
}

func (s *Symbol) mistakable() int {
	if s.badge.Empty() {
		return falseFinders(s.look(image.Rectangle{}))
	}
	letters := s.badge.Inset(1)
	return falseFinders(s.look(image.Rectangle{})) + falseFinders(s.look(letters))
}

// look is what is seen of the modules under all that is drawn, letters being where a badge is light.
func (s *Symbol) look(letters image.Rectangle) [][]bool {
	if s.covered == nil {
		return s.modules
	}
	n := len(s.modules)
	out := make([][]bool, n)
	for y := range out {
		out[y] = append([]bool(nil), s.modules[y]...)
		for x := range out[y] {
			if at := image.Pt(x, y); s.covered[y*n+x] {
				out[y][x] = at.In(s.badge) && !at.In(letters)
			}
		}
	}
	return out
}

const (
	finder    = 7  // modules across
	deceptive = 16 // how much worse a place is that has the size of a finder: readers choose the three that are most alike
)

// falseFinders weighs the places away from the three finders at which runs dark, light, dark, light, dark stand to each other as
// about 1:1:3:1:1 both along the row and along the column, the whole being two fifths longer along one of them at most.
func falseFinders(modules [][]bool) (count int) {
	n := len(modules)
	row := func(y int) func(int) bool { return func(x int) bool { return modules[y][x] } }
	column := func(x int) func(int) bool { return func(y int) bool { return modules[y][x] } }
	for y := range n {
		for _, across := range middles(row(y), n) {
			x := across.at
			if (x < 8 || x >= n-8) && y < 8 || x < 8 && y >= n-8 {
				continue
			}
			for _, down := range middles(column(x), n) {
				if down.at < y-1 || down.at > y+1 || 5*max(down.length-across.length, across.length-down.length) >= 2*across.length {
					continue
				}
				count++
				if across.length == finder && down.length >= finder-1 && down.length <= finder+1 {
					count += deceptive
				}
				break
			}
		}
	}
	return count
}

// A cut is where runs look like a finder cut through: their middle and the length of all five, in modules.
type cut struct{ at, length int }

// middles are the cuts of a row or column, with the tolerance of readers: half a run.
func middles(dark func(int) bool, n int) (out []cut) {
	var runs [5]int
	state := 0 // even: in a dark run
	for i := 0; i <= n; i++ {
		d := i < n && dark(i)
		if d == (state%2 == 0) {
			runs[state]++
			continue
		}
		switch {
		case state < 4 && runs[0] > 0:
			state++
			runs[state] = 1
		case state == 4:
			if looksLikeFinder(runs) {
				length := runs[0] + runs[1] + runs[2] + runs[3] + runs[4]
				at := i - runs[4] - runs[3] - (runs[2]+1)/2
				out = append(out, cut{at, length})
				if runs[2]%2 == 0 {
					out = append(out, cut{at - 1, length}) // the edge between two
				}
			}
			runs = [5]int{runs[2], runs[3], runs[4], 1, 0}
			state = 3
		}
	}
	return out
}

func looksLikeFinder(runs [5]int) bool {
	total := 0
	for _, r := range runs {
		total += r
	}
	for i, r := range runs {
		want := total // of a seventh
		if i == 2 {
			want *= 3
		}
		if off := 7*r - want; 2*max(off, -off) >= want {
			return false
		}
	}
	return true
}
