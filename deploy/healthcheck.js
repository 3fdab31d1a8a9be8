// Exits with 0 if the gateway of this container is alive. It uses TLS if the gateway does. A gateway that requires client
// certificates rejects this client, which also proves that it is alive.
import { request as overHttp } from 'node:http'
import { request as overTls } from 'node:https'

const target = { host: '127.0.0.1', port: process.env.PORT || 3000, path: '/-/live', timeout: 4000 }

const statusOf = (request, options) =>
  new Promise((resolve, reject) => {
    const sent = request({ ...target, ...options }, (response) => resolve(response.resume().statusCode))
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', reject).end()
  })

// The certificate is for the public name, so that it can't be verified for 127.0.0.1.
const status = await statusOf(overHttp, {}).catch((error) =>
  /ECONNREFUSED|no answer/.test(`${error.code} ${error.message}`)
    ? 503
    : statusOf(overTls, { rejectUnauthorized: false }).catch((refused) =>
        /CERTIFICATE_REQUIRED|alert/i.test(`${refused.code} ${refused.message}`) ? 200 : 503
      )
)
process.exitCode = status === 200 ? 0 : 1
