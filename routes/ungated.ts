/** The options of built-in routes without gates: no authentication, no limits and no access log. */
export const ungated = {
  '*': false,
  errors: true,
  limits: true,
  requestId: true,
  securityHeaders: { preset: 'strict' }
}
