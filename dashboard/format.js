const NONE = '–'

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** Formats a number of requests per second. */
export const rate = (value) =>
  value === null ? NONE : value === 0 ? '0' : value < 10 ? tenths.format(value) : whole.format(value)

/** Formats a count. */
export const count = (value) => (value < 100_000 ? whole.format(value) : short.format(value))

/** Counts things by a word that takes an s: "1 response", "2 responses". */
export const countOf = (value, word) => `${count(value)} ${word}${value === 1 ? '' : 's'}`

/** Formats a share from 0 to 1 as a percentage. */
export function percent(share) {
  if (share === null) return NONE
  if (share === 0) return '0%'
  const percentage = share * 100
  return percentage < 0.1
    ? '<0.1%'
    : `${percentage < 10 ? tenths.format(percentage) : whole.format(percentage)}%`
}

/** Formats milliseconds. */
export function millis(ms) {
  if (ms === null) return NONE
  if (ms >= 1000) return `${tenths.format(ms / 1000)} s`
  return `${ms < 10 ? tenths.format(ms) : whole.format(ms)} ms`
}

/** Formats a number of bytes. */
export function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let scaled = value
  let unit = 0
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000
    unit++
  }
  return `${unit === 0 || scaled >= 100 ? whole.format(scaled) : tenths.format(scaled)} ${units[unit]}`
}

/** Formats a duration in seconds by its two largest units. */
export function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's']
  ]
  const first = Math.max(
    0,
    parts.findIndex(([value]) => value > 0)
  )
  return parts
    .slice(first, first + 2)
    .filter(([value], i) => i === 0 || value > 0)
    .map(([value, unit]) => `${seconds < 1 ? 0 : value} ${unit}`)
    .join(' ')
}

/** Formats how long ago a time was, both in milliseconds since 1970. */
export function ago(then, now) {
  const seconds = Math.max(0, (now - then) / 1000)
  if (seconds < 3) return 'now'
  return seconds < 86_400 ? `${duration(seconds).split(' ').slice(0, 2).join(' ')} ago` : date(then)
}

const dates = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' })
const times = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })

/** Formats a time in milliseconds since 1970 as a date. */
export const date = (time) => dates.format(time)

/** Formats a time in milliseconds since 1970 as a time of the day. */
export const clock = (time) => times.format(time)
