import { createError } from '../../src/kit/index.ts'

/** The username or the password is wrong; the client must not learn which. */
export const LoginWrong = createError('SP_ERR_AUTH_LOGIN_WRONG', 'Invalid username or password', 401)

/** The user has no session with this id. */
export const SessionUnknown = createError('SP_ERR_AUTH_SESSION_UNKNOWN', 'Session not found', 404)

const NotLoggedIn = createError('SP_ERR_AUTH_NOBODY', 'Not logged in', 401)

/** Returns the 401 for a request that needs a session, with its challenge. */
export const notLoggedIn = (): Error =>
  Object.assign(new NotLoggedIn(), { headers: { 'www-authenticate': 'Session' } })

/** The session store is unavailable: the logout takes effect when it is back. */
export const LogoutDelayed = createError(
  'SP_ERR_AUTH_LOGOUT_DELAYED',
  'Session store unavailable: the logout takes effect when it is back',
  503
)
