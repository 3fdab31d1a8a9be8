/** Returns whether a text matches a pattern in which "*" is any characters, in time proportional to both lengths. */
export function matchesGlob(pattern: string, text: string): boolean {
  let at = 0
  let star = -1
  let retryAt = 0
  let i = 0
  while (i < text.length) {
    if (pattern[at] === '*') {
      star = at++
      retryAt = i
    } else if (pattern[at] === text[i]) {
      at++
      i++
    } else if (star === -1) return false
    else {
      at = star + 1
      i = ++retryAt
    }
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}

/** Returns whether some text matches both patterns. */
export function globsOverlap(a: string, b: string): boolean {
  // For each prefix of `b`: whether it overlaps with the prefix of `a` that was read so far.
  let row = Array.from({ length: b.length + 1 }, (_, j) => /^\**$/.test(b.slice(0, j)))
  for (let i = 1; i <= a.length; i++) {
    const isStar = a[i - 1] === '*'
    const next = [isStar && row[0] === true]
    for (let j = 1; j <= b.length; j++) {
      const isOtherStar = b[j - 1] === '*'
      next[j] =
        ((isStar || isOtherStar) && (row[j] === true || next[j - 1] === true)) ||
        (!isStar && !isOtherStar && a[i - 1] === b[j - 1] && row[j - 1] === true)
    }
    row = next
  }
  return row[b.length] === true
}
