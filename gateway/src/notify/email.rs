//! E-mail by SMTP submission: plain text with a link, never content.
//!
//! TLS from the first byte (RFC 8314) or before anything is said (`STARTTLS`, never without), by the client
//! for control traffic; plaintext on loopback only.

use std::io;
use std::net::SocketAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;

use super::{Channel, DELIVERY_MAX, Failure, Happened, Message};
use crate::egress::{Egress, MailStream, Target};
use crate::secret::Secret;

/// Some people's mailboxes.
#[derive(Debug)]
pub(super) struct Email {
    pub(super) egress: Egress,
    pub(super) server: Target,
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) login: Option<(String, Secret<String>)>,
}

impl AsyncTokioStream for MailStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer())
    }
}

impl Channel for Email {
    fn tells(&self, happened: Happened) -> bool {
        happened.is_for_people()
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>> {
        self.send(message).boxed()
    }
}

impl Email {
    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let mail = self.mail(message)?;
        let later = |error: lettre::transport::smtp::Error| Failure::Later(error.to_string());
        let stream = self.egress.mail(&self.server, DELIVERY_MAX).await;
        let stream = stream.map_err(|error| Failure::Later(error.to_string()))?;
        // RFC 5321: an address literal, by a host that has no name to give.
        let hello = ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST);
        let mut server = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)
            .await
            .map_err(later)?;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose().clone());
            server
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(later)?;
        }
        server
            .send(mail.envelope(), &mail.formatted())
            .await
            .map_err(later)?;
        // It is accepted; how the farewell goes does not matter.
        let _ = server.quit().await;
        Ok(())
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, Failure> {
        let mut text = String::new();
        for (name, line) in message.lines() {
            text.push_str(&format!("{name}: {line}\r\n"));
        }
        match &message.link {
            Some(link) => text.push_str(&format!(
                "\r\nSign in to see the call and to decide:\r\n{link}\r\n"
            )),
            None => text.push_str(&format!(
                "\r\ncallgate approvals show {}\r\n",
                message.approval
            )),
        }
        text.push_str("\r\nAn answer to this mail decides nothing.\r\n");
        let domain = self.from.email.domain();
        let mut mail = MessageBuilder::new()
            .from(self.from.clone())
            .subject(message.title())
            // The same for every try, so that a mailbox shows it once.
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(text)
            .map_err(|error| Failure::Never(format!("the mail cannot be written: {error}")))
    }
}
