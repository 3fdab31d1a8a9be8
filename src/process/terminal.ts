/** Returns whether the log is text for people: LOG_PRETTY decides, and by default whether stdout is a terminal. */
export const isPretty = (logPretty: boolean | 'auto'): boolean =>
  logPretty === 'auto' ? Boolean(process.stdout.isTTY) : logPretty

/** Returns whether text on stdout has colours: on a terminal, unless NO_COLOR or TERM=dumb is set; elsewhere only with FORCE_COLOR. */
export function hasColors({ NO_COLOR, FORCE_COLOR }: NodeJS.ProcessEnv): boolean {
  if (NO_COLOR) return false
  if (FORCE_COLOR !== undefined) return !['0', 'false'].includes(FORCE_COLOR)
  return Boolean(process.stdout.isTTY) && process.stdout.hasColors()
}

/** Returns the variables that make workers, whose stdout is a pipe, write lines like those of this process. */
export const workerLogVariables = (logPretty: boolean | 'auto'): Record<string, string> =>
  isPretty(logPretty)
    ? { LOG_PRETTY: 'true', ...(hasColors(process.env) ? { FORCE_COLOR: '1' } : {}) }
    : { LOG_PRETTY: 'false' }
