// Prints a token for an hour, to try the gateway: node token.cjs NAME [ROLE…]
const { createHmac } = require('node:crypto')

process.loadEnvFile(`${__dirname}/.env`)
const { JWT_ISSUER, JWT_AUDIENCE, JWT_SECRET } = process.env
const [sub = 'ada', ...roles] = process.argv.slice(2)
const now = Math.floor(Date.now() / 1000)
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claims = { iss: JWT_ISSUER, aud: JWT_AUDIENCE, sub, roles, iat: now, exp: now + 3600 }
const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
console.log(`${signed}.${createHmac('sha256', JWT_SECRET).update(signed).digest('base64url')}`)
