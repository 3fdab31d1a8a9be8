// Exits with 0 where the gateway of this container lives. It speaks TLS where the gateway does; a gateway that wants
// certificates of its clients refuses this one, too, and lives as long as it does so.
import { request as overHttp } from 'node:http'
import { request as overTls } from 'node:https'

const where = { host: '127.0.0.1', port: process.env.PORT || 3000, path: '/-/live', timeout: 4000 }

const asks = (request, options) =>
  new Promise((resolve, reject) => {
    const asked = request({ ...where, ...options }, (response) => resolve(response.resume().statusCode))
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject).end()
  })

// The certificate names the outside; who asks itself need not check it.
const status = await asks(overHttp, {}).catch((error) =>
  /ECONNREFUSED|no answer/.test(`${error.code} ${error.message}`)
    ? 503
    : asks(overTls, { rejectUnauthorized: false }).catch((refused) =>
        /CERTIFICATE_REQUIRED|alert/i.test(`${refused.code} ${refused.message}`) ? 200 : 503
      )
)
process.exitCode = status === 200 ? 0 : 1
