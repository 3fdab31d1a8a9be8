/** The words of routes that stand outside of everything: no log-in, no limit, and no line in the log for each. */
export const ungated = {
  '*': false,
  errors: true,
  limits: true,
  requestId: true,
  securityHeaders: { preset: 'strict' }
}
